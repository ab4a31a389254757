"""The version of the distribution, without any import."""

VERSION = "0.1.0"
