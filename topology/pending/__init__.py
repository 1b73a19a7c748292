"""What reconciliation waits for: timers and look-ups, of each PaymentIntent.

`times` holds all durations and the ladder, `awaited` derives from a payment's state what is to be awaited, `watch`
decides the inputs of one PaymentIntent, `captures` says what settlement is told, `schedule` knows which intent is due
next, `side` joins it to the flow.
"""
