"""Tests of `serving.deployments`, without Ray."""
