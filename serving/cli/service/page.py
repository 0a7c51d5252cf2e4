"""`bondhu page`: a link that opens the page once."""

import typer

from serving.auth.sign_in import LINK_MINUTES, link, make_code
from serving.cli.console import Exit, err, fail, settings_or_exit
from serving.config.addresses import gateway_url


def page() -> None:
    """Print a link that opens the page, once, for whoever has it."""
    settings = settings_or_exit()
    if not settings.gateway.page:
        fail("gateway.page is false: there is no page", Exit.CONFIGURATION)
    typer.echo(link(gateway_url(settings), make_code(settings.var_dir)))
    err.print(f"good once, within {LINK_MINUTES} minutes; who comes in says what they are called")
