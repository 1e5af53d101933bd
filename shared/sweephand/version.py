"""The one version number: of the package, the command line, the OpenAPI document and Google's gateway."""

VERSION = "0.1.0"
