"""What is shown: strings as they are, never as markup or as commands to the terminal."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from amodal_bench.text.printable import printable


class PlainConsole(Console):
    """A console to which every string is data: `[red]`, `:smile:` and ESC come out as they were written.

    Its own looks are asked for by `style` and by `plain`.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that is printed, and every title and cell of a table that is no `Text`, passes here."""
        looks = {name: value for name, value in options.items() if name in ("style", "justify", "overflow")}
        return Text(shown(text, self.encoding), **looks)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Whatever was printed, no control character leaves but line ends and rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text, keep="\n"), segment.style)


def shown(text: str, encoding: str | None = None) -> str:
    """The text in one line as standard output, or another encoding, can show it."""
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)


def plain(*parts: str | tuple[str, str], sep: str = "") -> Text:
    """Texts with styles of their own, as (text, style), in one."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text(sep).join(Text(shown(text), style=style) for text, style in pairs)
