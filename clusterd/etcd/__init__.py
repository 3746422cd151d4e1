"""All that talks to etcd."""
