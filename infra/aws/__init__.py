"""What is particular to AWS: the entry points that Lambda calls, and what serverless.yml includes."""
