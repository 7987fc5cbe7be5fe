variable "stack" {
  type        = string
  description = "The stack, whose network is there."
}

variable "region" {
  type        = string
  description = "The region of the stack."
}

variable "arch" {
  type        = string
  description = "The processor of the images: amd64 or arm64."
  default     = "amd64"
  validation {
    condition     = contains(["amd64", "arm64"], var.arch)
    error_message = "The architecture arch should be amd64 or arm64."
  }
}

variable "program" {
  type        = string
  description = "Your application, a static Linux program; empty is the one that comes with Goldsmith."
  default     = ""
}

variable "seed" {
  type        = string
  description = "Your database's first content, a file of SQL."
  default     = ""
}

variable "server_name" {
  type        = string
  description = "The names that the site answers to."
  default     = "_"
}

variable "kms_key" {
  type        = string
  description = "A KMS key of your own that the images are encrypted with; empty leaves it to the account's default."
  default     = ""
}

variable "share_with" {
  type        = list(string)
  description = "Accounts that may launch the images."
  default     = []
}

variable "copy_to" {
  type        = list(string)
  description = "Regions that the images are copied to."
  default     = []
}

variable "tags" {
  type        = map(string)
  description = "Tags of the images and of what is there while they are baked."
  default     = {}
}

variable "deploy" {
  type        = bool
  description = "Deploy the release when it is proved."
  default     = false
}
