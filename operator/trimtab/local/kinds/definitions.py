"""CustomResourceDefinitions at work: each established one is a served kind."""

from trimtab.local.catalog import Catalog
from trimtab.local.objects import Object
from trimtab.local.store import Store


class Definitions:
    """Keeps the catalog in step with the stored definitions."""

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self._catalog = catalog
        self._store = store

    def written(self, definition: Object, now: str) -> Object:
        return definition

    def removed(self, definition: Object) -> None:
        self._catalog.drop(definition["metadata"]["name"])
