mod deaths;
mod keeping;
mod landing;
mod large;
mod travel;
