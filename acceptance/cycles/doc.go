// Package cycles has stacks live their whole lives, one after the other, on a cloud with EC2's manners: network up, a
// bake of both images, deploy, redeploy of both tiers, rollback, destroy. Its test is built with the tag acceptance;
// `make cycles` runs it.
package cycles
