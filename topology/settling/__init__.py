"""What settlement knows: when a line is due, what it is matched with, and what comes of it.

`windows` says until when a line may come, `matching` decides what meets under one reference, `findings` is what the
read model says of a line that met nothing, `judge` asks it, `open_windows` knows which captures are due, `side` joins
them to the flow in `topology.settlement`.
"""
