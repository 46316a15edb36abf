"""The only place that knows Ray: the job, its stages and the command line."""
