"""Mail: the address check, the mailer, and its transports SES, SMTP and outbox."""
