"""The only kopf code: parse, call, write."""
