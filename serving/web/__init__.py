"""The page where a person meets their friend: plain files, served as they are by `serving.routes.web`."""
