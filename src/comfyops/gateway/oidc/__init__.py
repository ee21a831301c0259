"""Sign-in by an OpenID provider: authorization code with PKCE, state and nonce, bound to the browser that began it."""
