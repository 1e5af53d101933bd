"""Object storage (S3, Google Cloud Storage, a folder): the check of URLs, and the store."""
