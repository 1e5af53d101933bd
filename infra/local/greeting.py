"""The first text that `sweephand dev` prints for a person."""

from collections.abc import Mapping
from pathlib import Path


def greeting(values: Mapping[str, str], data_dir: Path, seconds: float, *, proxied: bool = False) -> str:
    """Return the greeting: the address, the key, a job to paste, and the folders.

    `proxied`: whether the shell names a proxy. The pasted curl then has to pass it by.
    """
    direct = " --noproxy '*'" if proxied else ""
    url, key = values["SWEEPHAND_URL"], values["SWEEPHAND_API_KEY"]
    job = (
        '{"type": "email_notification", "payload": {"to": "test@example.com", '
        '"subject": "Hello!", "message": "This is a test job."}}'
    )
    return f"""
Sweephand listens on {url}; it ticks every {seconds:g} s.

  API key   {key}
  mail      {values["MAIL_URL"]}
  objects   {values["STORAGE_PREFIXES"]}
  settings  {data_dir}/env
  logs      {data_dir}/logs

Post a job:

  curl{direct} {url}/jobs \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{job}'

Ctrl-C stops everything; the data stays.
"""
