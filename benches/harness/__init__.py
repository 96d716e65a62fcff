"""The measuring side of benches/: servers.py runs them, measures.py measures, limits.py says what encke must reach, report.py
writes it down."""
