mod deaths;
mod landing;
mod large;
mod travel;
