//! The testbed: namespaces, customers, VPC hosts, and a gateway between them.
