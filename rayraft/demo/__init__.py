"""The whole path on one corpus, as a person would type it; knows the stages by their commands."""
