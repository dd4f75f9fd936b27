"""Building blocks of pipelines that consist of several components; a pipeline calls them like a component."""
