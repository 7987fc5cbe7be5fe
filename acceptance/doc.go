// Package acceptance holds the tests that look at Goldsmith from the outside: each of its packages runs `make golden`
// on a local cloud of its own and then asks, as a user would, with HTTP, SSH, the AWS CLI and Packer, whether what the
// README promises is so. They need root and are built with the tag acceptance. Packages run side by side:
//
//   - bakes: images, how they are made and what Packer is promised
//   - deploys: redeploys, rollbacks, what breaks in their middle
//   - stacks: networks, instances, the command, the cloud itself
//   - cycles: stacks from their network to their end under EC2's manners, by `make cycles` only
//   - bench: figures, by `make bench` only
//
// Package rig has the helpers that they share.
package acceptance
