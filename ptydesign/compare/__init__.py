"""The kind `compare`: named designs and reconstructions beside each other."""
