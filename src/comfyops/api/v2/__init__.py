"""The public Comfy API v2, served from the durable queue: jobs, their events, assets, health.

Source: the contract that comfy-sdk 0.5 and @comfyorg/sdk are generated from. What is ours beyond it is named so in
docs/api.md.
"""
