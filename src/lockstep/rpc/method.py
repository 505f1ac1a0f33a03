"""A method as data: its name, its typed parameters and the function behind it.

The function's signature is the single source: parameters are converted by it, help and reference
are written from it.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Struct

from lockstep.rpc.faults import WrongParameters, WrongType, WrongValue
from lockstep.rpc.service import NodeService

BODY_BYTES_MAX: Final = 1024 * 1024
"""The body of a call, but for `submittransactions`."""
CALL_TIMEOUT_MS: Final = 30_000

Function = Callable[..., Awaitable[Any]]


class Parameter(Struct, frozen=True):
    """One parameter: its name, type, and default where it has one."""

    name: str
    kind: Any
    default: Any
    is_required: bool


class Method(Struct, frozen=True):
    """One row of the method table.

    Attributes:
        settles: Whether the answer waits until what it was read from is synced; false where the
            answer is made of notices, which are always synced before.
        body_bytes_max: The longest body that may call it.
        timeout_ms: How long it may take.
    """

    name: str
    group: str
    function: Function
    parameters: tuple[Parameter, ...]
    shape: Any
    result: Any
    settles: bool
    body_bytes_max: int
    timeout_ms: int

    @property
    def summary(self) -> str:
        """Return the first line of the function's docstring."""
        return self.text.partition("\n")[0]

    @property
    def text(self) -> str:
        """Return the function's docstring."""
        return inspect.getdoc(self.function) or ""

    @property
    def usage(self) -> str:
        """Return name and parameters on one line, optional ones in brackets."""
        words = [p.name if p.is_required else f"[{p.name}]" for p in self.parameters]
        return " ".join([self.name, *words])

    def read_parameters(self, params: Sequence[Any] | dict[str, Any]) -> dict[str, Any]:
        """Convert positional or named parameters to what the function takes.

        A null stands for a parameter left out, as Bitcoin's clients send it.

        Raises:
            WrongParameters: If one is missing, unknown or too many.
            WrongType: If one has the wrong JSON type.
            WrongValue: If one is out of its range or malformed.
        """
        if not isinstance(params, dict):
            if len(params) > len(self.parameters):
                count = len(self.parameters)
                raise WrongParameters(f"{self.name} takes {count} parameters, not {len(params)}")
            params = dict(zip([p.name for p in self.parameters], params, strict=False))
        given = {name: value for name, value in params.items() if value is not None}
        known = {parameter.name for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise WrongParameters(f"{self.name} has no parameter {name[:64]!r}")
        for parameter in self.parameters:
            if parameter.is_required and parameter.name not in given:
                raise WrongParameters(f"the parameter {parameter.name!r} is missing")
        try:
            converted = msgspec.convert(given, self.shape)
        except msgspec.ValidationError as fault:
            raise _name_fault(str(fault)) from fault
        return {name: getattr(converted, name) for name in given}


def _name_fault(sentence: str) -> WrongType | WrongValue:
    """Turn the codec's sentence into ours: `parameter 'txid': expected ...`."""
    rule, _, place = sentence.partition(" - at `$.")
    name, dot, rest = place.rstrip("`").partition("[")
    text = f"parameter {name!r}{' at ' + dot + rest if dot else ''}: {rule[:1].lower()}{rule[1:]}"
    return WrongType(text) if ", got `" in rule else WrongValue(text)


def describe_method(
    function: Function,
    group: str,
    *,
    name: str = "",
    settles: bool = True,
    body_bytes_max: int = BODY_BYTES_MAX,
    timeout_ms: int = CALL_TIMEOUT_MS,
) -> Method:
    """Make a row of the method table from a function `(service, parameters...)`."""
    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    empty = inspect.Parameter.empty
    parameters = tuple(Parameter(p.name, hints[p.name], p.default, p.default is empty) for p in own)
    shape = msgspec.defstruct(
        function.__name__,
        [(p.name, p.kind) if p.is_required else (p.name, p.kind, p.default) for p in parameters],
        kw_only=True,
    )
    return Method(
        name=name or function.__name__,
        group=group,
        function=function,
        parameters=parameters,
        shape=shape,
        result=hints["return"],
        settles=settles,
        body_bytes_max=body_bytes_max,
        timeout_ms=timeout_ms,
    )


async def call_method(method: Method, service: NodeService, arguments: dict[str, Any]) -> Any:
    """Run a method; its answer waits for the disk where it must [F4, F5]."""
    result = await method.function(service, **arguments)
    if method.settles:
        await service.settled()
    return result
