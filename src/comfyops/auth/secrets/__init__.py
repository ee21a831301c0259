"""Secrets with one source of truth: one document, the files that must agree with it, and how they are brought in step.

Pure: model, env_values, env_file, formats, conf_variants, strength, plan, rotation. They take values and give values,
and what they raise never holds a secret. The rest reads and writes files, which only their owner may read.
"""
