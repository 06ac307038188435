"""The steps that several commands share."""
