"""The migrations, and what applies them."""
