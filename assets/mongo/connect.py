"""Connections to MongoDB: options kind to the server, errors without the connection string."""

from __future__ import annotations

import os
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError
from pymongo.read_preferences import (
    Nearest,
    Primary,
    PrimaryPreferred,
    Secondary,
    SecondaryPreferred,
)

from assets.mongo.errors import SourceError
from assets.mongo.pin import Pin
from assets.spec.source import Source

APP_NAME = "shardmill"
SERVER_SELECTION_SECONDS = 20

PREFERENCES = {
    "primary": Primary,
    "primaryPreferred": PrimaryPreferred,
    "secondary": Secondary,
    "secondaryPreferred": SecondaryPreferred,
    "nearest": Nearest,
}


def connect(source: Source) -> MongoClient[dict[str, Any]]:
    """Open a client for a source; the caller closes it.

    Every kind of connection string that PyMongo reads is taken (`mongodb+srv`, TLS, SCRAM, X.509, ...);
    options in it win over the ones set here.

    Raises
    ------
    SourceError
        The environment variable is empty, or what it holds is no connection string. The message names the
        variable and never its value.
    """
    uri = os.environ.get(source.uri_env, "")
    if not uri:
        raise SourceError(
            f"the environment variable {source.uri_env} (source.uri_env) is not set; "
            "it holds the connection string, for instance mongodb://host:27017/?replicaSet=rs0"
        )
    options: dict[str, Any] = {"appname": APP_NAME, "tz_aware": True, "retryReads": True}
    options["server_selector"] = Pin()
    lowered = uri.lower()
    if "serverselectiontimeoutms" not in lowered:
        options["serverSelectionTimeoutMS"] = SERVER_SELECTION_SECONDS * 1000
    if "appname=" in lowered:
        del options["appname"]
    if "readpreference=" not in lowered:
        options["readPreference"] = source.read_preference
    try:
        return MongoClient(uri, **options)
    except (ConfigurationError, InvalidURI, ValueError, PyMongoError) as error:
        reason = type(error).__name__
    # Raised out of the handler: the original error quotes the string, and would be shown as its cause.
    raise SourceError(
        f"the environment variable {source.uri_env} (source.uri_env) holds no valid connection string "
        f"({reason}); see https://www.mongodb.com/docs/manual/reference/connection-string/"
    )
