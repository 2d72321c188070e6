"""The forward-pass machine: it evaluates any list of edits on any model, exactly and in batches."""
