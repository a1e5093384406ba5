"""How the demo community of `imkit.sandbox.demo` is made.

`cast` says who is in it, `words` what they can say, `plan` which threads there are, how large and when, `talk` writes
the messages of one thread in order, `pictures` makes the attachments, and `fill` puts everything into the store.
"""
