"""Requests, responses and usage as clients, the gateway and the engines exchange them."""
