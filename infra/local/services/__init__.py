"""The programs that Sweephand stands on: PostgreSQL, PostgREST behind a Supabase gateway, Valkey."""
