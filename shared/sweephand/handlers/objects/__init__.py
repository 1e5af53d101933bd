"""Object storage: S3, Google Cloud Storage, or a folder."""
