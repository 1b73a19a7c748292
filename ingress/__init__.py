"""The merchant API over HTTP: checks what is asked, hands commands to the log, answers with what came of them.

`app` builds the Starlette application, `server` runs it. Everything that the application talks to is a port
(`ports`); `log`, `replies` and `read_index` are the Kafka side of those.
"""
