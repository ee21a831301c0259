"""Object storage that speaks like Amazon S3, for reading: signatures are checked, bytes come with ranges and faults.
Simulated throughout.

    http://127.0.0.1:PORT/BUCKET/KEY?X-Amz-Algorithm=AWS4-HMAC-SHA256&...     HEAD and GET

    with ObjectStore({"weights/vae/ae.safetensors": data}) as store:
        setting = f"s3://weights?endpoint={store.endpoint}&region={store.region}"

Source of the signature: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" of Amazon S3's
documentation. Names of files are "bucket/key"; `ModelHub`'s faults of the role "store" hold here too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from comfyops.testing.model_hub import Faults, ModelHub, serve
from comfyops.testing.model_hub_routes import Routes


class ObjectStore(ModelHub):
    """The store; start and stop it with `with`. `access_key` and `secret_key` are the only credentials that it knows;
    buckets in `public` are given to everybody. `metadata` of a file ("bucket/key") is sent as x-amz-meta-NAME.
    """

    region = "eu-test-1"
    access_key = "AKIASIMULATED0000000"
    secret_key = "simulated+secret/of-the-object-store"

    def __init__(
        self,
        files: Mapping[str, bytes | Path],
        faults: Faults | None = None,
        *,
        public: frozenset[str] = frozenset(),
        certificate: Path | None = None,
    ) -> None:
        super().__init__(files, faults, certificate=certificate)
        self.public = public
        self.metadata: dict[str, Mapping[str, str]] = {}
        self._servers.append(serve(self, ObjectRoutes, certificate, 0))

    @property
    def endpoint(self) -> str:
        """The address of the store, as an S3 client's endpoint."""
        return f"{self._scheme}://127.0.0.1:{self._servers[-1].server_address[1]}"

    @property
    def variables(self) -> dict[str, str]:
        """The credentials, as an S3 client's environment."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


class ObjectRoutes(Routes):
    """What the store answers."""

    hub: ClassVar[ObjectStore]
    role = "store"

    def route(self, path: str) -> None:
        """Answer with the object, where the signature is right."""
        self.hub.count_store_request()
        name = unquote(path.removeprefix("/"))
        file = self.hub.files.get(name)
        code = "" if name.partition("/")[0] in self.hub.public else self._refused(path)
        if code:
            self.say(403, {"Content-Type": "application/xml"}, f"<Error><Code>{code}</Code></Error>".encode())
        elif file is None:
            self.say(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self.further = {f"x-amz-meta-{key}": value for key, value in self.hub.metadata.get(name, {}).items()}
            self.send_file(file, file.etag)

    def _refused(self, path: str) -> str:
        """S3's code of what is wrong with the query's signature, "" where it is right."""
        query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        given = query.pop("X-Amz-Signature", "")
        try:
            key, day, region, service, _ = query["X-Amz-Credential"].split("/")
            moment = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            until = moment + timedelta(seconds=min(int(query["X-Amz-Expires"]), int(self.hub.faults.signed_seconds)))
        except (KeyError, ValueError):
            return "AccessDenied"
        if key != self.hub.access_key:
            return "InvalidAccessKeyId"
        if datetime.now(UTC) > until:
            return "AccessDenied"
        names = query["X-Amz-SignedHeaders"].split(";")
        headers = "".join(f"{name}:{(self.headers.get(name) or '').strip()}\n" for name in names)
        asked = "&".join(f"{_quoted(name)}={_quoted(query[name])}" for name in sorted(query))
        request = "\n".join((self.command, path, asked, headers, ";".join(names), "UNSIGNED-PAYLOAD"))
        scope = f"{day}/{region}/{service}/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, digest))
        right = _signature(self.hub.secret_key, (day, region, service, "aws4_request"), text)
        return "" if hmac.compare_digest(given, right) and region == self.hub.region else "SignatureDoesNotMatch"


def _signature(secret: str, scope: tuple[str, ...], text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
