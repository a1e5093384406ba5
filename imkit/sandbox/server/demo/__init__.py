"""Makes the demo community that `imkit.sandbox.demo` describes.

`cast` has its people and groups, and `words` what they write. `plan` decides the threads, their sizes and their times.
`talk` writes the messages of one conversation in order of time. `pictures` makes the attachments. `fill` puts
everything into the store.
"""
