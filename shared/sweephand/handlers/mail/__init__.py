"""Sends mail: SES, SMTP, or a folder."""
