"""Grammars of surrogate derivatives: their rules, and sentences made, counted, changed and recognised."""
