// Package ec2 answers the calls for instances, images, snapshots, volumes and key pairs, by kind of resource. States
// that take time, client tokens, console output, filters and pages are as EC2 has them; machines and disks are package
// host's. At a start, Reconcile brings records and machines to agree: what ran is stopped, what was half made is gone.
//
// Limits: an image is of the root volume only; volumes keep their size; there is never capacity for bare metal, so that
// a client's handling of that can be tried.
package ec2
