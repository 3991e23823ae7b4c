"""Training that learns nothing from ignored defects: they are neither defects nor background.

detectron2 has no such label. In training alone, its region proposal network and
its heads are replaced by these, which have the same weights: anchors and
proposals that lie mostly in an ignored defect are no negatives.
"""

from __future__ import annotations

import torch

from tem_data.detection.detectron import (
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_HEADS_REGISTRY,
    RPN,
    Boxes,
    CfgNode,
    Instances,
    StandardROIHeads,
    pairwise_ioa,
)

IGNORED = -1  # the class of an ignored defect in `gt_classes`
MOSTLY = 0.5


@PROPOSAL_GENERATOR_REGISTRY.register()
class IgnoringRPN(RPN):
    """An RPN that learns no anchor as background that lies mostly in an ignored defect."""

    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        labels, boxes = super().label_and_sample_anchors(anchors, [_labelled(truth) for truth in gt_instances])
        together = Boxes.cat(anchors)
        for of_image, truth in zip(labels, gt_instances, strict=True):
            of_image[(of_image == 0) & _in_ignored(together, truth)] = -1
        return labels, boxes


@ROI_HEADS_REGISTRY.register()
class IgnoringROIHeads(StandardROIHeads):
    """Heads that learn no proposal as background that lies mostly in an ignored defect."""

    def label_and_sample_proposals(self, proposals: list[Instances], targets: list[Instances]) -> list[Instances]:
        sampled = super().label_and_sample_proposals(proposals, [_labelled(truth) for truth in targets])
        return [
            of_image[(of_image.gt_classes != self.num_classes) | ~_in_ignored(of_image.proposal_boxes, truth)]
            for of_image, truth in zip(sampled, targets, strict=True)
        ]


REPLACED = {"RPN": IgnoringRPN.__name__, "StandardROIHeads": IgnoringROIHeads.__name__}


def ignoring(cfg: CfgNode) -> CfgNode:
    """The configuration with which a model of `cfg` is trained; parts that are not detectron2's usual ones stay."""
    training = cfg.clone()
    for node in (training.MODEL.PROPOSAL_GENERATOR, training.MODEL.ROI_HEADS):
        node.NAME = REPLACED.get(node.NAME, node.NAME)
    return training


def _labelled(truth: Instances) -> Instances:
    return truth[truth.gt_classes != IGNORED]


def _in_ignored(boxes: Boxes, truth: Instances) -> torch.Tensor:
    """Which of `boxes` lie by more than half in the box of an ignored defect, (n,) bool."""
    ignored = truth.gt_boxes[truth.gt_classes == IGNORED]
    return (pairwise_ioa(ignored, boxes) > MOSTLY).any(0)
