// Package records keeps what moto does not know of instances, images, groups and load balancers, or would forget. It is
// one file, replaced as a whole at each change, before anybody learns of the change.
//
// Limits: records are copies; only Update changes them. Whether a record is real is the business of its package.
package records
