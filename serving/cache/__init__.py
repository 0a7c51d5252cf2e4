"""The response cache: stored responses, and which requests may use them."""
