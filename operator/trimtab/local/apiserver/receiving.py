"""The object that a request sends, where it is not to be stored: a review, a request for a token."""

from trimtab.local.apiserver.bodies import decode_object
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.options import write_options
from trimtab.local.incoming import Terms, decoded
from trimtab.local.kinds.served import Served
from trimtab.local.managed import Manager
from trimtab.local.objects import Object
from trimtab.local.resources import group_version


async def sent(call: Call, served: Served | None = None) -> Object:
    """The body as the kind reads it: the one of the path, unless another travels there.

    Raises:
        ApiError: 400 for what cannot be read, 415 for another format, 422 for options that are none.
    """
    served = served or call.served
    resource = served.resource
    options = write_options(call, "CreateOptions")
    document = decode_object(await call.body(), call.request.headers.get("Content-Type", ""), resource.kind)
    manager = Manager(options.manager, "Update", group_version(resource.group, resource.version), "")
    terms = Terms(
        resource.version, manager, options.dry_run, options.validation, call.warnings, complaints=document.twice
    )
    return decoded(served, document.value, terms)
