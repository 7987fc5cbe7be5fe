variable "stack" {
  type        = string
  description = "The stack that the images are for; its network is where they are baked."
  default     = "golden"
}

variable "region" {
  type        = string
  description = "The region; empty takes AWS_REGION or the profile's."
  default     = ""
}

variable "ami_prefix" {
  type        = string
  description = "What the images' names begin with."
  default     = "golden"
}

variable "arch" {
  type        = string
  description = "The processor of the images: amd64 or arm64, as Graviton has it. make ARCHES=arm64 builds what goes into them."
  default     = "amd64"
  validation {
    condition     = contains(["amd64", "arm64"], var.arch)
    error_message = "The architecture arch should be amd64 or arm64."
  }
}

variable "base_ami_name" {
  type        = string
  description = "The name of the image to start from; the youngest that matches is taken. Empty is Debian 13 for arch."
  default     = ""
}

variable "base_ami_owner" {
  type        = string
  description = "Who owns the image to start from; the default is Debian's account."
  default     = "136693071363"
}

variable "ssh_username" {
  type        = string
  description = "The user of the image to start from."
  default     = "admin"
}

variable "instance_type" {
  type        = string
  description = "What the images are baked and proved on; empty is t3.small, or t4g.small for arm64."
  default     = ""
}

variable "max_age" {
  type        = string
  description = "How old an image of the same inputs may be for a build to end with it."
  default     = "168h"
}

variable "force" {
  type        = bool
  description = "Bake although nothing changed."
  default     = false
}

variable "deploy" {
  type        = bool
  description = "Deploy the release when it is proved."
  default     = false
}
