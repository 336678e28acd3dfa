"""Pretrained models as they come: files of other formats, made into folders of Hugging Face."""
