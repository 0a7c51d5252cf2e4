"""llama.cpp as an engine: its own HTTP server (of the `xllamacpp` wheel) behind the protocol that vLLM's server speaks.

`server` starts it as a supervised process, `front` is that process, `request` and `response` translate between the two
dialects, `forced_call` and `adapter` add what llama.cpp has in another form.
"""
