"""Several machines: Celery on real servers, Kubernetes by its schemas."""
